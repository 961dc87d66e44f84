"""Evidence: what was shown about each example, who decides it, and what it says of the whole."""

from brinell.evidence.bracket import Bracket as Bracket
from brinell.evidence.figure import Figure as Figure
from brinell.evidence.interval import at_least as at_least
from brinell.evidence.interval import clopper_pearson as clopper_pearson
from brinell.evidence.interval import wilson as wilson
from brinell.evidence.judge import judge as judge
from brinell.evidence.share import Share as Share
from brinell.evidence.verdict import Certificate as Certificate
from brinell.evidence.verdict import Estimate as Estimate
from brinell.evidence.verdict import Evidence as Evidence
from brinell.evidence.verdict import Failure as Failure
from brinell.evidence.verdict import Look as Look
from brinell.evidence.verdict import ProbabilisticCertificate as ProbabilisticCertificate
from brinell.evidence.verdict import Soundness as Soundness
from brinell.evidence.verdict import State as State
from brinell.evidence.verdict import Verdict as Verdict
from brinell.evidence.verdict import Witness as Witness
from brinell.evidence.verdict import check_bounds as check_bounds
from brinell.evidence.verdict import check_evidence as check_evidence
