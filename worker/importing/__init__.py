"""The reader of files: a program that turns what a person sent into a version of a data set.

    program.py    what the process is: its limits, its events, how it ends
    formats.py    which reader a file needs
    sources.py    files, and members of archives, unpacked within bounds
    tables.py     CSV
    headers.py    a CSV's first line
    shapes.py     rows of pixel values to images
    arrays.py     NumPy's .npz and .npy
    idx.py        IDX, as MNIST comes
    pictures.py   a zip of PNG, JPEG or WebP, a folder a class
    folders.py    what the pictures' folders say
    cifar.py      CIFAR-10's binary files
    context.py    what every reader needs beside the files
    labels.py     labels to classes
    build.py      chunks of images to a version's folder

It reads what nobody has checked, so it runs as a process of its own with bounded memory and time,
unpickles nothing, extracts nothing to a path that a file names, and knows no SQL, no Redis and no
TensorFlow.
"""
