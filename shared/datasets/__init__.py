"""Data sets: what is bundled, the layout that trainers read, and what a look at one shows.

    bundled.py   the data sets that lie in this folder
    layout.py    a version as a folder of memory-mappable arrays, known by its content
    derived.py   what is worked out from the arrays once: order by class, mean images
    cache.py     the versions that this machine keeps, fetched and verified once
    survey.py    what there is to see and to worry about in a version
    report.py    the survey's result, as JSON
    rows.py      single images and labels, straight from the files
    known.py     public data sets: where they come from and what their classes are called

All but `report`, `rows` and `known` need NumPy, which the web process does without.
"""

# Where a version is that lies in this folder: `bundled:<name>`.
BUNDLED_SCHEME = "bundled:"
