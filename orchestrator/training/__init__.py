"""Pure: which cluster takes a training job, and when; and what may become of a job."""
