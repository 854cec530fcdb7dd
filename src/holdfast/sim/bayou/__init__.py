"""The offices: Bayou's replicas under virtual days, with their secretaries, couriers and operators."""
