"""The commands that run or prepare nodes: `node`, `init`, `reset`, `tickets-server`, and what `up` needs of them."""
