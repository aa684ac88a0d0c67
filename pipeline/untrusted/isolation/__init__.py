"""Decoding the bytes of strangers in processes that may die of it.

Symptom: one file of a million ends the run, by signal 11, for lack of memory, or after hours in a decoder.
Cause: decoders are C, have faults, and promise neither time nor memory; what ends one ends its process.
Cure: they run in worker processes that do nothing else, under limits for each image that the kernel keeps
(`limits`). A worker notes the number of an image before it begins, in memory that outlives it. When it dies,
the image is known at once, its row is refused with the reason, and a new worker continues (`pool`).

Workers are forked by a small server (`server`), one for each process that asks (`workers`): it has a single
thread, has imported the decoders, and makes a worker in some milliseconds. A worker ends with the server, and
the server with the process that started it, however that ends.

A worker has the rights of the user: it keeps a run alive, and is no jail.
"""
