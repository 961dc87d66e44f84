"""Labelled examples, and how to read them from what people keep them in. Nothing read here can run code."""

from brinell.data.dataset import Dataset as Dataset
from brinell.data.dataset import given as given
from brinell.data.load import load as load
