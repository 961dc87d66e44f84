"""Audits: subject, question, plan, run, ledger, gate. They know no question, no engine and no threat."""

from brinell.auditing.compare import Difference as Difference
from brinell.auditing.compare import compare as compare
from brinell.auditing.drive import Progress as Progress
from brinell.auditing.finding import Finding as Finding
from brinell.auditing.gate import Requirement as Requirement
from brinell.auditing.gate import Ruling as Ruling
from brinell.auditing.gate import gate as gate
from brinell.auditing.ledger import Ledger as Ledger
from brinell.auditing.plan import Plan as Plan
from brinell.auditing.plan import Stage as Stage
from brinell.auditing.plan import load_plan as load_plan
from brinell.auditing.question import Answer as Answer
from brinell.auditing.question import Question as Question
from brinell.auditing.question import Summary as Summary
from brinell.auditing.result import Result as Result
from brinell.auditing.run import Run as Run
from brinell.auditing.subject import Subject as Subject
