"""Tables that strangers wrote: their rows, and what a cell says, the same for every reader."""
