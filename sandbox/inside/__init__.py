"""What runs inside a worker process: entering the isolation, forking jobs, watching them."""
