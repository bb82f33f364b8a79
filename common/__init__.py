"""What is not about lesions and what every layer may use: the lowest layer, which imports none of the others.

A module belongs here when a person who knows nothing of stroke or of networks would look for it here, such as how many
processors a process may use. It needs no TensorFlow, so that each command pays only for what it uses.
"""
