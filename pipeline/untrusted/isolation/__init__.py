"""Decoding untrusted bytes in processes that may crash.

Symptom: one file of a million ends the run: by signal 11, for lack of memory, or after hours in a decoder.
Cause: decoders are written in C, have bugs, and bound neither time nor memory; a crash ends the process.
Cure: they run in worker processes that do nothing else, with limits per image that the kernel enforces
(`limits`). A worker stores the number of an image before it begins, in memory that outlives it. When it dies,
the image is known at once, its row is refused with the reason, and a new worker continues (`pool`).

Workers are forked by a small server (`server`), one per calling process (`workers`): it has a single thread,
has imported the decoders, and starts a worker in a few milliseconds. A worker ends with the server, and the
server with the process that started it, however that ends.

A worker has the rights of the user: it keeps a run alive, but is not a sandbox.
"""
