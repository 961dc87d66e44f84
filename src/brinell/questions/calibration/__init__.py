"""Calibration: is the model right as often as it is sure?"""

from brinell.questions.calibration.calibration import Calibration as Calibration
from brinell.questions.calibration.measure import Probabilities as Probabilities
from brinell.questions.calibration.summary import CalibrationSummary as CalibrationSummary
