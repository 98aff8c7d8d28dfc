"""What an operator is: its registration, its memory and calls, its costs. Imports no other room."""
