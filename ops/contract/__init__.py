"""Registration, memory and cost of operators. Imports no other part of the package."""
