"""Measurements that last: each file says what it measures and with which command."""
