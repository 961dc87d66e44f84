"""Faces of a run: a page, a terminal table. They show figures and compute none."""

from brinell.report.page import render as render
from brinell.report.page import write_report as write_report
from brinell.report.terminal import table as table
