"""Models over HTTP, by the Open Inference Protocol (V2 REST): what ``onnxwalk serve`` runs.

``datatypes`` has the protocol's types, ``tensors`` turns JSON and bytes into arrays and back,
``protocol`` reads a request and writes an answer, ``models`` says what is served under which name,
``batching`` runs requests one after the other or several together, ``intake`` receives bodies
within limits, ``app`` is the ASGI application, ``server`` runs it until it is told to stop.
"""
