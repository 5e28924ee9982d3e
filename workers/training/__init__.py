"""What runs inside a training process: read data, restore, step, checkpoint, report, convert, measure.

The room stands alone: `python -m workers.training.local --out DIR` needs neither Ray nor a control
plane. TensorFlow is imported inside functions, so that reading a spec or a result costs nothing.
"""
