import pytest
import torch
from torch import nn

from brinell.errors import CannotRun, UsageError
from brinell.targets import load
from brinell.targets.exported import FixedBatch
from brinell.threat import Access
from targets.models import batch, cnn, mlp

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")


def saved(net, folder, *shape, name="model.pt2", dynamic=False):
    axes = ({0: torch.export.Dim.DYNAMIC},) if dynamic else None
    torch.export.save(torch.export.export(net, (batch(*shape),), dynamic_shapes=axes), folder / name)
    return folder / name


class Awkward(nn.Module):
    """Constants, buffers, a part without gradients, shapes computed from the batch."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU("tanh"))
        self.register_buffer("shift", torch.ones(8), persistent=False)

    def forward(self, x):
        with torch.no_grad():
            fixed = self.shift * 2
        y = self.body(x) + fixed + torch.tensor([0.5] * 8)
        return torch.softmax(y.view(x.shape[0], 2, -1).sum(2), dim=1)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (cnn(), (1, 6, 6)),
        (Awkward(), (4,)),
        (nn.Sequential(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), nn.Flatten()), (3, 4)),
    ],
    ids=["cnn", "awkward", "attention"],
)
def test_any_batch_gives_the_answers_of_the_module(tmp_path, net, shape, dynamic):
    net.eval()
    asked = load(saved(net, tmp_path, 3, *shape, dynamic=dynamic))
    assert asked.access == Access.WEIGHTS
    assert not asked.backend.was_training
    for rows in (1, 3, 8):
        x = batch(rows, *shape)
        torch.testing.assert_close(asked.scores(x), net(x).detach())
        _, _, slope = asked.gradient(x, lambda s, _: s[:, 0])
        leaf = x.clone().requires_grad_()
        torch.testing.assert_close(slope, torch.autograd.grad(net(leaf)[:, 0].sum(), leaf)[0])


class Baked(nn.Module):
    def forward(self, x):
        return x.reshape(2, 4)[:, :3]


class Mixing(nn.Module):
    def forward(self, x):
        return x[:, :3].softmax(0)


@pytest.mark.parametrize("net", [Baked(), Mixing()], ids=["baked", "mixing"])
def test_a_program_that_depends_on_its_batch_is_run_in_batches_of_that_size(tmp_path, net):
    looped = load(saved(net, tmp_path, 2, 4))
    assert isinstance(looped.module(), FixedBatch)
    x = batch(5, 4)
    expected = torch.cat([net(x[:2]), net(x[2:4]), net(x[[4, 4]])[:1]])
    torch.testing.assert_close(looped.scores(x), expected)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_other_programs_take_any_batch_at_once(tmp_path, rows):
    assert isinstance(load(saved(mlp(), tmp_path, rows, 4)).module(), torch.fx.GraphModule)


def test_normalisation_and_module_work_around_it(tmp_path):
    net, x = mlp(), batch(5, 4)
    asked = load(saved(net, tmp_path, 2, 4), mean=0.5, std=2.0)
    torch.testing.assert_close(asked.module()(x), net((x - 0.5) / 2).detach())


def test_two_programs_with_equal_layers_differ_by_their_code(tmp_path):
    class Plus(nn.Module):
        def forward(self, x):
            return x + 1

    class Minus(nn.Module):
        def forward(self, x):
            return x - 1

    one, two = (saved(net(), tmp_path, 2, 4, name=f"{net.__name__}.pt2") for net in (Plus, Minus))
    assert load(one).digest == load(one).digest != load(two).digest


@pytest.mark.parametrize("net", [nn.Sequential(nn.Linear(4, 3), nn.Dropout()), nn.BatchNorm1d(4)])
def test_training_mode_is_refused(tmp_path, net):
    with pytest.raises(UsageError, match=r"exported in training mode; call model\.eval\(\)"):
        load(saved(net.train(), tmp_path, 3, 4))


class Two(nn.Module):
    def forward(self, x):
        return x, -x


def test_more_than_one_output_is_refused(tmp_path):
    with pytest.raises(UsageError, match="returns 2 outputs"):
        load(saved(Two(), tmp_path, 2, 4))


def test_another_archive_is_not_one(tmp_path):
    torch.save(mlp().state_dict(), tmp_path / "model.pt2")
    with pytest.raises(CannotRun, match=r"torch\.export\.save"):
        load(tmp_path / "model.pt2")


def test_the_name_of_the_file_is_free(tmp_path):
    assert load(saved(mlp(), tmp_path, 2, 4, name="model.pt")).access == Access.WEIGHTS
