"""Reading untrusted data: paths, texts, archives and images are bounded and checked."""
