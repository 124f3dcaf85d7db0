"""COCO 2017 for detectors on a feature pyramid; see ``coco_files.py``, also for your own JSON files.

With ``task = 'seg'`` the outlines are read too.
"""

_base_ = ['./fpn_pipelines.py', './coco_files.py']
