"""The domain: stroke lesions in T1-weighted MRI, in NumPy, SciPy, pandas and nibabel. Reads alone."""
