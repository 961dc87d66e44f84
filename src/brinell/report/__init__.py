"""Faces of a result: a page, a terminal table, a notebook fragment. They show figures and compute none."""

from brinell.report.page import render as render
from brinell.report.page import write_report as write_report
from brinell.report.summary import html_summary as html_summary
from brinell.report.terminal import table as table
