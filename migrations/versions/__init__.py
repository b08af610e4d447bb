"""The revisions, one file each; each goes down as well as up."""
