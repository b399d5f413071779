"""Executors of several processes: a process pool, a Ray pool, and a group of processes that train one network."""
