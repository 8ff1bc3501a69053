"""The only door to MMDetection and MMSegmentation.

Nothing here is imported before a command needs it, and nothing imports mmcv, mmdet or
mmseg before `stack.require` has said that they are there and fit.
"""
