"""Front ends, sequencers and replica managers in virtual time, with replicas that answer wrongly."""
