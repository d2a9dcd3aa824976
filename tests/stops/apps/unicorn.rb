worker_processes 20
timeout 60
