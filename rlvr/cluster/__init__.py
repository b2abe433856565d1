"""Ray and the processes of a run.

ray_cluster      start a local Ray or join a cluster
actors           call Ray actors with deadlines
processes        packages, environment variables, output and logging of a process
process_reaper   kill everything that a run started when it ends
signals          waits that end on Ctrl-C and SIGTERM
"""
