"""Studies: experiments that answer one question together, several seeds each."""
