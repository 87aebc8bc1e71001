"""Selection from a pool that is cut into files, without having it all in one place.

Every stage is a function of one part, or of one bucket of what the parts sent; `select` puts
them one after the other. A stage runs in this process or in tasks of a cluster, and what one
hands to the next goes through files.
"""
