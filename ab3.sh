cd /work/tmp; export PYTHONPATH=/work/wt/rf; P=/work/venv-ref/bin/python; $P ab3.py predict 12 rfdetr; $P ab3.py train 6 rfdetr
