"""Evasion: does a small change of an input flip the answer?"""

from brinell.questions.evasion.alone import AttackSummary as AttackSummary
from brinell.questions.evasion.alone import alone as alone
from brinell.questions.evasion.board import EvasionBoard as EvasionBoard
from brinell.questions.evasion.diagnose import diagnose as diagnose
from brinell.questions.evasion.evasion import Evasion as Evasion
from brinell.questions.evasion.plans import PRESETS as PRESETS
from brinell.questions.evasion.plans import load_plan as load_plan
from brinell.questions.evasion.preflight import accept as accept
from brinell.questions.evasion.preflight import check as check
from brinell.questions.evasion.summary import AccuracyCurve as AccuracyCurve
from brinell.questions.evasion.summary import Diagnosis as Diagnosis
from brinell.questions.evasion.summary import EvasionSummary as EvasionSummary
