"""Sources of readings: each speaks its own protocol, and gives readings in W, J and °C."""
