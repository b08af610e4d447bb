"""The worker: claims jobs, supervises trainers, records what they report; and the scheduler.

Imports neither Flask nor TensorFlow; `worker.training` runs as a child process.
"""
