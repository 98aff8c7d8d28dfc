"""How large parts should be: a simulation of many workers, calibrated by measurements.

``simulation`` is the simulation, ``measure`` the costs on this machine, ``study`` compares the rule
of ``rows_per_part`` with every other size, ``page`` writes what came out.
"""
