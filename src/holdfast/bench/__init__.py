"""How fast it is: a load generator, the ceiling it is compared with, and the reports."""
