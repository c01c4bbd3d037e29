"""What a published network is worth: the figures of `digits evaluate` and the page of `digits report`.

Everything is measured on the exported file, as the service runs it.
"""
