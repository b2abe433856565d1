"""Code that runs inside a worker process: enter the isolation, fork jobs, monitor them."""
