"""Bare connections that send bytes made beforehand, so that the server is measured.

Answers are not decoded: marks in them are counted. What was done is verified afterwards by
asking the server how many messages there are.
"""
