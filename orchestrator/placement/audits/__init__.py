"""The parts of the independent check of a decision; `auditing.audit` runs them all.

They share nothing with the planner but the words of orchestrator/model: each formula is written anew from
docs/policies.md, so that an error in one of the two does not hide in the other. Import-linter holds it.
"""
