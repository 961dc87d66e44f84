"""Sounds: changes of a waveform that an ear does not notice."""
