"""The web application: pages, API, live streams. Imports neither the worker nor TensorFlow."""
