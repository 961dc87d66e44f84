"""Audits: plan, run, ledger, result."""

from brinell.auditing.alone import AttackSummary as AttackSummary
from brinell.auditing.alone import alone as alone
from brinell.auditing.audit import Audit as Audit
from brinell.auditing.audit import audit as audit
from brinell.auditing.board import Board as Board
from brinell.auditing.compare import Difference as Difference
from brinell.auditing.compare import compare as compare
from brinell.auditing.diagnose import diagnose as diagnose
from brinell.auditing.drive import Progress as Progress
from brinell.auditing.gate import Requirement as Requirement
from brinell.auditing.gate import Ruling as Ruling
from brinell.auditing.gate import gate as gate
from brinell.auditing.ledger import Ledger as Ledger
from brinell.auditing.plan import PRESETS as PRESETS
from brinell.auditing.plan import Plan as Plan
from brinell.auditing.plan import Stage as Stage
from brinell.auditing.plan import load_plan as load_plan
from brinell.auditing.preflight import accept as accept
from brinell.auditing.preflight import check as check
from brinell.auditing.result import Curve as Curve
from brinell.auditing.result import Diagnosis as Diagnosis
from brinell.auditing.result import Finding as Finding
from brinell.auditing.result import Result as Result
from brinell.auditing.verify import verify as verify
