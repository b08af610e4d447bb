"""The yard on one machine: every part of Trainyard under one supervisor process.

`trainyard up` (`shared.yard.up`) runs Redis, migrations, web, scheduler and workers. Nothing in
here knows what a job is: it starts, watches, restarts and ends processes.
"""
