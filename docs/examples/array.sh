#!/bin/bash
#SBATCH --job-name=tunefront-embedded
#SBATCH --array=1-8
#SBATCH --chdir=/home/ann/trial
#SBATCH --output=/home/ann/trial/results/mine/jobs/e4aaad3f5c10/%A_%a.log
#SBATCH --cpus-per-task=1
#SBATCH --mem=2693M
#SBATCH --time=00:21:00
#SBATCH --partition=compute
# 40 cells in 8 jobs, each predicted to take 2 min 53 s to 3 min 14 s on this machine.
# --time is 3 times the predicted seconds of the longest job, and 10 minutes and 10 seconds a cell.
# --mem is 1.5 times the predicted peak memory, and 2.15 GB for each process.
: "${SLURM_ARRAY_TASK_ID:?give this script to sbatch}"
exec /home/ann/trial/venv/bin/tunefront run embedded --out results/mine --workers 1 --packed results/mine/jobs/e4aaad3f5c10/packing.json --shard "$SLURM_ARRAY_TASK_ID/8"
