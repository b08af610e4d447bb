"""What every room of the yard shares: settings, the job spec, SQL, the queue, artifacts.

Imports neither Flask nor TensorFlow.
"""
