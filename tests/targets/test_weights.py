import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from brinell.errors import CannotRun, UsageError
from brinell.targets import load
from targets.models import batch, mlp


def zeros():
    net = mlp()
    for p in net.parameters():
        nn.init.zeros_(p)
    return net


def put(state, path):
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth", "w.bin", "w"])
def test_weights_fill_a_copy(tmp_path, name):
    net, x = zeros(), batch(3, 4)
    asked = load(net, weights=put(mlp().state_dict(), tmp_path / name))
    torch.testing.assert_close(asked.scores(x), mlp()(x).detach())
    assert not net[0].weight.any()


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "net"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_checkpoints_are_searched_and_prefixes_taken_off(tmp_path, key, prefix):
    state = {prefix + name: t for name, t in mlp().state_dict().items()}
    path = put({"epoch": 3, "lr": 0.1, key: state}, tmp_path / "w.pt")
    x = batch(3, 4)
    torch.testing.assert_close(load(zeros(), weights=path).scores(x), mlp()(x).detach())


def test_the_old_format_of_torch_is_read(tmp_path):
    path = tmp_path / "w.pt"
    torch.save(mlp().state_dict(), path, _use_new_zipfile_serialization=False)
    x = batch(3, 4)
    torch.testing.assert_close(load(zeros(), weights=path).scores(x), mlp()(x).detach())


def test_the_name_of_the_file_is_free(tmp_path):
    path = put(mlp().state_dict(), tmp_path / "w.safetensors").rename(tmp_path / "w.pt")
    assert load(zeros(), weights=path).digest == load(mlp()).digest


def test_what_does_not_fit_is_counted_and_named(tmp_path):
    state = mlp().state_dict()
    state["head.weight"] = state.pop("2.weight")
    state["0.bias"] = torch.zeros(7)
    with pytest.raises(UsageError) as caught:
        load(mlp(), weights=put(state, tmp_path / "w.safetensors"))
    said = str(caught.value)
    assert "does not fit Sequential: 1 missing (2.weight), 1 unexpected (head.weight)" in said
    assert "1 of another shape (0.bias is (7,), the model's is (5,))" in said
    assert "\n" not in said


def test_a_file_without_weights_is_named(tmp_path):
    with pytest.raises(UsageError, match="holds a dict without weights"):
        load(mlp(), weights=put({"epoch": 3}, tmp_path / "w.pt"))
    with pytest.raises(CannotRun, match="No such file"):
        load(mlp(), weights=tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(CannotRun, match=r"not a checkpoint of torch\.save"):
        load(mlp(), weights=tmp_path / "text.pt")
