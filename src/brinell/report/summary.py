"""The result in a notebook: a fragment of HTML that brings its own colours and asks nothing of its host."""

from brinell.auditing.result import Result
from brinell.report.templating import template


def html_summary(result: Result) -> str:
    """One bar and one line a radius; for `_repr_html_`."""
    return template("summary.html").render(result=result)
