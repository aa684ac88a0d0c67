"""Protocols by their names in `evaluate.protocol`. A new one is one file and one line here."""

from pipeline.evaluation.lbfgs import fit_by_lbfgs
from pipeline.evaluation.linear_probe import Protocol
from pipeline.evaluation.sgd import fit_by_sgd

PROTOCOLS: dict[str, Protocol] = {
    "lbfgs": fit_by_lbfgs,
    "sgd": fit_by_sgd,
}
