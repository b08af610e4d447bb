"""The trainer: a pure program that turns a spec and a data folder into events and files.

The only code that imports TensorFlow. Knows no SQL, no Redis, no Celery, no web: what it needs
comes by `shared.protocol.Run`, what it has to say goes out as events.
"""
