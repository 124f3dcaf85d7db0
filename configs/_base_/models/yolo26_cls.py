"""YOLO26 classification, whose network is YOLO11's."""

_base_ = './yolo11_cls.py'
